"""The review pack: what a security, legal or procurement reviewer asks for, made from the actual gate and bundle.

_facts          what is read of a gate, a bundle and the machine; the only part that looks at any of them
_evaluation     the result of `facegate evaluate`, read as if somebody had damaged it
_inventory      the classes of data: where they are, how they are protected, how long they are kept
_controls       which demand is met by which control, and whether it is in force here
_cards          the models, the thresholds and the deployment
_flow           the data-flow diagram, drawn from the inventory of flows
_distributions  the software that is installed, by the metadata that it brings; _markers reads its conditions
_sbom           the same and the models as CycloneDX 1.6
_document       all of it as one JSON document; the page, the tables and the drawing are made from that alone
_html, _page    the page
_write          a ZIP or a folder, signed by the device
"""
