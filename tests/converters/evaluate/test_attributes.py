"""What is stated of people and photographs, and how it is refused."""

from __future__ import annotations

import pytest

from facegate_convert._evaluate import read_attributes, read_dataset
from facegate_convert.errors import AttributesError


@pytest.fixture
def dataset(tmp_path):
    """Two people with two photographs each."""
    for name in ("x/1.jpg", "x/2.jpg", "y/1.jpg", "y/2.jpg"):
        (tmp_path / "people" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "people" / name).write_bytes(name.encode())
    return read_dataset(tmp_path / "people")


def attributes(tmp_path, text):
    """Write an attributes file."""
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_attributes_of_people(dataset, tmp_path):
    """A value of a person holds for all of their photographs; an empty one and a dash state nothing."""
    path = attributes(tmp_path, "Identity,tone,age\nx,dark,-\ny,light,30-39\nstranger,light,\n")
    found, notes = read_attributes(path, dataset)
    assert [(a.name, a.groups, a.group.tolist()) for a in found] == [
        ("tone", ("dark", "light"), [0, 0, 1, 1]),
        ("age", ("30-39",), [-1, -1, 0, 0]),
    ]
    assert any("nobody of the dataset" in note for note in notes)
    assert any("2 photograph(s) have no 'age'" in note for note in notes)


def test_attributes_of_photographs(dataset, tmp_path):
    """Something that differs between photographs of a person is stated by file."""
    path = attributes(tmp_path, "image,glasses\nx/1.jpg,yes\nx/2.jpg,no\ny/1.jpg,no\n")
    (found,), _ = read_attributes(path, dataset)
    assert found.group.tolist() == [1, 0, 0, -1]


def test_columns_can_be_chosen(dataset, tmp_path):
    """--by takes some columns and leaves the others alone, even if they could not be used."""
    many = "".join(f"{who},g,{i}\n" for i, who in enumerate("xy"))
    found, _ = read_attributes(attributes(tmp_path, f"identity,group,number\n{many}"), dataset, ["group"])
    assert [a.name for a in found] == ["group"]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", (), "no rows"),
        ("identity,tone\n", (), "no rows"),
        ("who,tone\nx,dark\n", (), "no column that names"),
        ("identity\nx\n", (), "one column only"),
        ("identity,tone\nx,dark\nx,light\n", (), "line 3: another row"),
        ("identity,tone\nz,dark\n", (), "none of the 1 rows"),
        ("identity,tone\nx,\n", (), "states anything"),
        ("identity,tone,tone\nx,a,b\n", (), "same name"),
        ("identity,tone\nx,a,b\n", (), "line 2: there are more values"),
        ("identity,tone\nx,dark\n", ("age",), "no column 'age'"),
    ],
)
def test_attributes_that_cannot_be_used(dataset, tmp_path, text, columns, message):
    """Nobody named, contradictions, missing columns: each is refused with what is wrong."""
    with pytest.raises(AttributesError, match=message) as caught:
        read_attributes(attributes(tmp_path, text), dataset, columns)
    assert caught.value.hint


def test_binary_and_absent_files_are_refused(dataset, tmp_path):
    """What is no text is no attributes file."""
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("b.csv", "absent.csv"):
        with pytest.raises(AttributesError, match="cannot be read"):
            read_attributes(tmp_path / name, dataset)


def test_a_column_of_numbers_is_no_column_of_groups(tmp_path):
    """More values than anybody could compare are refused: ages are put into ranges first."""
    rows = []
    for person in range(41):
        path = tmp_path / "many" / f"p{person}" / "1.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([person]))
        rows.append(f"p{person},{person}")
    found = attributes(tmp_path, "identity,age\n" + "\n".join(rows) + "\n")
    with pytest.raises(AttributesError, match="41 different values"):
        read_attributes(found, read_dataset(tmp_path / "many"))


@pytest.mark.usefixtures("dataset")
def test_a_pairs_file_knows_no_people_by_name(tmp_path):
    """A CSV of pairs says who is the same, not who it is: attributes name its files."""
    pairs = tmp_path / "people/pairs.csv"
    pairs.write_text("file_x,file_y,Decision\nx/1.jpg,x/2.jpg,Yes\nx/1.jpg,y/1.jpg,No\n")
    found = read_dataset(pairs)
    with pytest.raises(AttributesError, match="only who is the same"):
        read_attributes(attributes(tmp_path, "identity,tone\nx,dark\n"), found)
    (column,), _ = read_attributes(attributes(tmp_path, "image,tone\nx/1.jpg,dark\ny/1.jpg,light\n"), found)
    assert column.group.tolist() == [0, -1, 1]
