"""The tables of the catalogue."""

SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, source TEXT NOT NULL,
    media_type TEXT NOT NULL, num_pages INTEGER NOT NULL, content_hash TEXT NOT NULL,
    settings_hash TEXT NOT NULL, attributes TEXT NOT NULL);
CREATE INDEX documents_by_source ON documents (source) WHERE source != '';
CREATE TABLE pages (
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, number INTEGER NOT NULL,
    text TEXT NOT NULL, words BLOB NOT NULL, width_pt REAL NOT NULL, height_pt REAL NOT NULL,
    text_source TEXT NOT NULL, image TEXT NOT NULL, image_width INTEGER NOT NULL, image_height INTEGER NOT NULL,
    PRIMARY KEY (document, number)) WITHOUT ROWID;
CREATE INDEX pages_by_image ON pages (image) WHERE image != '';
CREATE TABLE passages (
    key INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    page INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE INDEX passages_by_document ON passages (document);
CREATE TABLE files (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, generation INTEGER NOT NULL, num_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('generation', '0'), ('next_passage_key', '0'), ('settings', '{}');
"""
# What format version 3 added. sidecars: what sidecar files said last, so that what they no longer say is
# taken away.
SINCE_3 = """
CREATE TABLE IF NOT EXISTS sidecars (
    document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE, attributes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS file_facts (
    path TEXT PRIMARY KEY REFERENCES files ON DELETE CASCADE, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_passages (key INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS loose_pictures (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS document_digests (
    document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE, sha256 BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS attribute_values (
    name TEXT NOT NULL, type TEXT NOT NULL, value NOT NULL,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    PRIMARY KEY (name, type, value, document)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attribute_values_by_document ON attribute_values (document);
"""
# The attributes of some documents as rows, which filters look up.
# A day in the form YYYY-MM-DD: date() makes March 1st of February 30th, but only where it has to reckon.
ATTRIBUTE_VALUES = """
INSERT OR REPLACE INTO attribute_values
SELECT item.key, CASE item.type WHEN 'true' THEN 'boolean' WHEN 'false' THEN 'boolean' WHEN 'text' THEN
    CASE WHEN item.value GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' AND item.value >= '0001'
        AND date(item.value, '+0 days') IS item.value THEN 'date' ELSE 'string' END
    ELSE 'number' END, item.value, documents.key
FROM documents, json_each(documents.attributes) AS item
"""
