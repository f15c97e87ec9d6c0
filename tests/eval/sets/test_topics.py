import pytest

from ragkit.errors import DataError
from ragkit.eval.sets.topics import read_topics

# As TREC-1, TREC-6 and later tracks wrote them: closing tags left out, a title on the next line, one line a field.
CLASSIC = """
<top>
<head> Tipster Topic Description
<num> Number:  051
<dom> Domain:  International Economics
<title> Topic:  Airbus Subsidies

<desc> Description:
Document mentions a title.
</top>

<top>

<num> Number: 301
<title>
International Organized
  Crime

<narr> Narrative:
A relevant document names <organizations>.

</top>
<top><num>MB01</num><title>BBC & Al-Jazeera: 5 < 6</title></top>
"""


def test_classic_topics_are_read_by_number_and_title(tmp_path):
    (tmp_path / "topics").write_text(CLASSIC)
    assert list(read_topics(tmp_path / "topics").items()) == [
        ("051", "Airbus Subsidies"),
        ("301", "International Organized Crime"),
        ("MB01", "BBC & Al-Jazeera: 5 < 6"),
    ]


def test_topics_in_xml_are_read_by_query_title_or_text(tmp_path):
    (tmp_path / "topics.xml").write_text(
        '<?xml version="1.0"?>\n<topics task="any">\n<topic number="1" type="faceted">\n<query>obama family\ntree'
        "</query>\n<description>Find it.</description></topic>\n"
        '<topic number="2"><title>wings &amp; flaps</title><question>Which?</question></topic>\n'
        '<topic number="3">\n A 45-year-old man.\n</topic>\n</topics>\n'
    )
    assert list(read_topics(tmp_path / "topics.xml").items()) == [
        ("1", "obama family tree"),
        ("2", "wings & flaps"),
        ("3", "A 45-year-old man."),
    ]


def test_lines_of_id_and_text_are_read(tmp_path):
    (tmp_path / "topics.tsv").write_bytes(b"\xef\xbb\xbf7\twhat <b>is</b> lift\r\n\r\nq 8\tdrag \r\n")
    assert read_topics(tmp_path / "topics.tsv") == {"7": "what <b>is</b> lift", "q 8": "drag"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\twings\nno tab here\n", r"topics:2: 'no tab here', expected an id, a tab"),
        ("1\twings\n2\t\n", r"topics:2: .*expected an id"),
        ("1\twings\n2\ta\tb\n", r"topics:2: .*expected an id"),
        ("1\twings\n1\tflaps\n", r"topics:2: the topic '1' has appeared before"),
        ("", r"topics holds no topic"),
        ("<top>\n<num> 1\n<title> wings\n</top>\nloose\n", r"topics:5: 'loose' stands outside"),
        ("<top>\n<num> 1\n<title> wings\n<top>\n", r"topics:4: <top> inside the topic that begins in line 1"),
        ("<top>\n<num> 1\n<title> wings\n", r"topics:1: the topic that begins here has no </top>"),
        ("\n<top>\n<title> wings\n</top>\n", r"topics:2: the topic has no <num>"),
        ("<top>\n<num> Number: 1\n<title>\n<desc> flaps\n</top>\n", r"topics:1: the topic has no <title>"),
        ("<top>\n<num>1<title>a</top>\n<top><num>1<title>b</top>\n", r"topics:3: the topic '1' has appeared"),
        ("<?xml version='1.0'?>\n\n<topics>\n<topic>\n</topics>\n", r"topics:5: neither XML nor <top> blocks"),
        ("<topics></topics>", r"topics: XML without a <topic>"),
        ("<topics><topic number='1'>a</topic><topic>b</topic></topics>", r"topic 2 of the file has no number"),
        ("<topics><topic number='1'> </topic></topics>", r"topic 1 of the file has no text"),
        ("<t><topic number='1'>a</topic><topic number='1'>b</topic></t>", r"topic 2: the topic '1' has appeared"),
    ],
)
def test_malformed_topics_are_named(tmp_path, text, message):
    (tmp_path / "topics").write_text(text)
    with pytest.raises(DataError, match=message):
        read_topics(tmp_path / "topics")
