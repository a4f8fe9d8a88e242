"""PDF: pages keep their numbers, and sentences their ends."""

from pathlib import Path

from knowledge.loaders import load
from knowledge.loaders.pdf import _joined, _without_running_lines


def pdf(pages: list[str]) -> bytes:
    """A PDF with one line of text or none on each page."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for i, text in enumerate(pages):
        lines = " ".join(f"({line}) Tj T*" for line in text.split("\n"))
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET" if text else ""
        resources = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {resources} /Contents {5 + 2 * i} 0 R >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF"
    return data + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


def test_pages_keep_their_numbers_where_one_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "a-guide.pdf"
    path.write_bytes(pdf(["First page.", "", "Third page."]))
    document = load(path)
    assert [(s.page, s.text) for s in document.sections] == [(1, "First page."), (3, "Third page.")]
    assert document.title == "a guide"


def test_a_sentence_over_a_page_end_stays_whole_on_its_first_page() -> None:
    assert _joined(["It begins", "and ends here. Next one."]) == ["It begins\nand ends here.", "Next one."]
    assert _joined(["It ended.", "and so on. Next."]) == ["It ended.", "and so on. Next."]
    assert _joined(["It begins", "New heading. Next."]) == ["It begins", "New heading. Next."]


def test_running_heads_and_page_numbers_are_left_out() -> None:
    words = "One Two Ten Six Far Old".split()
    pages = [
        f"The Guide\nPart {word}\n{word} begins.\nIt goes on.\n{word} ends.\nPage {i}" for i, word in enumerate(words)
    ]
    kept = _without_running_lines(pages)
    assert kept[1] == "Part Two\nTwo begins.\nIt goes on.\nTwo ends."
    assert _without_running_lines(pages[:3]) == pages[:3]
