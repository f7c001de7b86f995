"""A sealing secret that only this machine's TPM 2.0 opens.

The secret is a sealed data object under the storage primary key of the owner hierarchy (TCG TPM 2.0 Library, part 1,
"Sealed Data"; the template is that of the "EK and SRK" provisioning guidance, ECC P-256). The file holds the object as
the TPM gave it, encrypted by a key that never leaves the chip: copied to another machine it is of no use. It is not
bound to the boot state (PCRs): an update of the firmware must not lock people out. What travels between the processor
and the chip is encrypted with a salted session.

Needs the extra `tpm` (tpm2-pytss) and access to the TPM (/dev/tpmrm0, usually the group tss).
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from facegate._store._key_providers import FileKey
from facegate._store._sealing import SECRET_LENGTH
from facegate.errors import SealKeyError, SealKeyMissingError
from facegate_edge._keys import b64url_decode, b64url_encode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TCTI_VARIABLE", "TpmKey"]

TCTI_VARIABLE = "FACEGATE_TPM"
"""How the TPM is reached if not by its usual device, in the words of libtss2, e.g. `device:/dev/tpmrm1`."""

_FORMAT = 1
_PRIMARY = "ecc256:aes128cfb"
_SEALED = "keyedhash"


class TpmKey(FileKey):
    """A file with the secret, sealed to this machine's TPM.

    Args:
        path: of the file.
        name: as it was spelled; `tpm:PATH` if None.
        tcti: how the TPM is reached; $FACEGATE_TPM, or the usual device, if None.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None, tcti: str | None = None) -> None:
        super().__init__(path)
        self.name = name if name is not None else f"tpm:{self.path}"
        self._tcti = tcti if tcti is not None else os.environ.get(TCTI_VARIABLE)

    def _encoded(self, secret: bytearray) -> bytes:
        with self._session() as (tpm, library, primary, session):
            sensitive = library.TPM2B_SENSITIVE_CREATE(library.TPMS_SENSITIVE_CREATE(data=bytes(secret)))
            attributes = library.TPMA_OBJECT.FIXEDTPM | library.TPMA_OBJECT.FIXEDPARENT
            attributes |= library.TPMA_OBJECT.USERWITHAUTH | library.TPMA_OBJECT.NODA
            template = library.TPM2B_PUBLIC.parse(_SEALED, objectAttributes=attributes)
            private, public, *_ = tpm.create(primary, sensitive, template, session1=session)
        content = {
            "format": _FORMAT,
            "private": b64url_encode(private.marshal()),
            "public": b64url_encode(public.marshal()),
        }
        return json.dumps(content).encode("ascii") + b"\n"

    def _decoded(self, data: bytearray, source: str) -> bytearray:
        damaged = SealKeyError(f"{source} is no key sealed by a TPM, or is damaged", hint="use its backup")
        try:
            content = json.loads(data)
            private, public = (b64url_decode(content[name]) for name in ("private", "public"))
            right = content["format"] == _FORMAT
        except (ValueError, KeyError, TypeError, AttributeError):
            raise damaged from None
        if not right:
            raise damaged
        with self._session() as (tpm, library, primary, session):
            try:
                sealed_private, _ = library.TPM2B_PRIVATE.unmarshal(private)
                sealed_public, _ = library.TPM2B_PUBLIC.unmarshal(public)
            except library.TSS2_Exception:
                raise damaged from None
            try:
                item = tpm.load(primary, sealed_private, sealed_public)
            except library.TSS2_Exception:
                raise SealKeyError(
                    f"this machine's TPM does not open {source}",
                    hint="it was sealed by the TPM of another machine, or the TPM was cleared: restore a backup of the "
                    "gate with the recovery key",
                ) from None
            try:
                secret = bytearray(bytes(tpm.unseal(item, session1=session)))
            finally:
                tpm.flush_context(item)
        if len(secret) != SECRET_LENGTH:
            raise damaged
        return secret

    @contextlib.contextmanager
    def _session(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """The TPM, its library, the storage primary key, and a session that encrypts both ways."""
        try:
            os.environ.setdefault("TSS2_LOG", "all+none")  # our errors say it; the library writes to stderr
            import tpm2_pytss as library  # noqa: PLC0415 - an extra
        except (ImportError, RuntimeError) as error:  # RuntimeError: there is no libtss2
            raise SealKeyMissingError(
                "a sealing key in a TPM needs tpm2-pytss and libtss2", hint="pip install facegate[tpm]"
            ) from error
        with contextlib.ExitStack() as stack:
            try:
                tpm = stack.enter_context(library.ESAPI(self._tcti))
                primary = _primary(tpm, library)
                stack.callback(tpm.flush_context, primary)
                session = _encrypted(tpm, library, primary)
                stack.callback(tpm.flush_context, session)
            except library.TSS2_Exception:
                raise SealKeyMissingError(
                    "this machine's TPM cannot be used",
                    hint=f"look for /dev/tpmrm0 and who may use it (group tss); {TCTI_VARIABLE} names another way",
                ) from None
            try:
                yield tpm, library, primary, session
            except library.TSS2_Exception as error:
                raise SealKeyError("the TPM refused", hint="look at the system's log, or clear a lock-out") from error


def _primary(tpm: Any, library: Any) -> Any:
    """The storage primary key: the same each time, made of the hierarchy's own seed."""
    attributes = library.TPMA_OBJECT.DEFAULT_TPM2_TOOLS_CREATEPRIMARY_ATTRS | library.TPMA_OBJECT.NODA
    template = library.TPM2B_PUBLIC.parse(_PRIMARY, objectAttributes=attributes)
    return tpm.create_primary(library.TPM2B_SENSITIVE_CREATE(), template, library.ESYS_TR.OWNER)[0]


def _encrypted(tpm: Any, library: Any, primary: Any) -> Any:
    symmetric = library.TPMT_SYM_DEF(
        algorithm=library.TPM2_ALG.AES,
        keyBits=library.TPMU_SYM_KEY_BITS(sym=128),
        mode=library.TPMU_SYM_MODE(sym=library.TPM2_ALG.CFB),
    )
    session = tpm.start_auth_session(
        primary, library.ESYS_TR.NONE, library.TPM2_SE.HMAC, symmetric, library.TPM2_ALG.SHA256
    )
    tpm.trsess_set_attributes(
        session,
        library.TPMA_SESSION.CONTINUESESSION | library.TPMA_SESSION.DECRYPT | library.TPMA_SESSION.ENCRYPT,
    )
    return session
