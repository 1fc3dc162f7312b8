"""Named networks: published architectures as points of our spaces, and others by name, with published figures."""

from archfit.catalogue.external import PACKAGES, external_names, is_external
from archfit.catalogue.named import (
    build_named,
    check_name,
    identity,
    imagenet_network,
    in_published_order,
    pretrained_statistics,
    published_figures,
)
from archfit.catalogue.reference import Published, Reference
from archfit.catalogue.references import REFERENCES, get_reference
from archfit.catalogue.tables import TABLES, Row, row_of

__all__ = [
    "PACKAGES",
    "REFERENCES",
    "TABLES",
    "Published",
    "Reference",
    "Row",
    "build_named",
    "check_name",
    "external_names",
    "get_reference",
    "identity",
    "imagenet_network",
    "in_published_order",
    "is_external",
    "pretrained_statistics",
    "published_figures",
    "row_of",
]
