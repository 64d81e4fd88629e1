"""What a reader gets of a page: links, anchors, pictures, and the text outside code."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The HTML of a page, read."""

    def __init__(self, html: str):
        super().__init__()
        self.anchors, self.links, self.fetched, self.pictures = set(), [], [], []
        self.text, self.code = "", 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self.fetched += [attributes["href"]] if tag == "link" else []
        self.fetched += [attributes["src"]] if "src" in attributes else []
        if tag == "img":
            self.pictures.append((attributes["src"], attributes.get("alt", "")))
        self.code += tag == "code"

    def handle_endtag(self, tag):
        self.code -= tag == "code"

    def handle_data(self, data):
        self.text += "" if self.code else data
