"""Media types and annotation keys. Sources: image-spec "media-types" and "annotations"; ModelPack model-spec
"docs/spec.md" and "docs/annotations.md"; ``dev.installml.*`` is our own, readable before any blob is fetched.

ModelPack said ``cnai`` where it says ``cncf`` now, and modctl 0.2 still writes that: both are read, one is written.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ANNOTATION_BASE", "ANNOTATION_CHECKPOINTS", "ANNOTATION_FILEPATH", "ANNOTATION_FILES", "ANNOTATION_FILE_METADATA",
    "ANNOTATION_HARDWARE", "ANNOTATION_RUNTIME", "ANNOTATION_SIZE", "ANNOTATION_TITLE", "DOCKER_LIST",
    "DOCKER_MANIFEST", "EMPTY",
    "HARDWARE_PATH", "IMAGE_INDEX", "IMAGE_MANIFEST", "LOCK_PATH", "MANIFESTS", "METADATA_ANNOTATIONS", "MODEL_CONFIG",
    "MODEL_CONFIGS", "MODEL_MANIFEST", "MODEL_MANIFESTS", "OWN_FOLDER", "PATH_ANNOTATIONS", "RECIPE_NAME",
    "RUNTIME_PATH", "Role", "layer_media_type", "role_of",
]  # fmt: skip

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (IMAGE_MANIFEST, IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
EMPTY = "application/vnd.oci.empty.v1+json"

MODEL_MANIFEST = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
MODEL_MANIFESTS = (MODEL_MANIFEST, "application/vnd.cnai.model.manifest.v1+json")
MODEL_CONFIGS = (MODEL_CONFIG, "application/vnd.cnai.model.config.v1+json")

ANNOTATION_TITLE = "org.opencontainers.image.title"
ANNOTATION_FILEPATH = "org.cncf.model.filepath"
ANNOTATION_FILE_METADATA = "org.cncf.model.file.metadata+json"
PATH_ANNOTATIONS = (ANNOTATION_FILEPATH, "org.cnai.model.filepath", ANNOTATION_TITLE)
METADATA_ANNOTATIONS = (ANNOTATION_FILE_METADATA, "org.cnai.model.file.metadata+json")
ANNOTATION_RUNTIME = "dev.installml.runtime"
ANNOTATION_HARDWARE = "dev.installml.hardware"
ANNOTATION_SIZE = "dev.installml.size"
ANNOTATION_FILES = "dev.installml.files"
ANNOTATION_BASE = "dev.installml.base"
ANNOTATION_CHECKPOINTS = "dev.installml.checkpoints"

RECIPE_NAME = "installml.yaml"
OWN_FOLDER = ".installml"
RUNTIME_PATH = f"{OWN_FOLDER}/runtime.json"
HARDWARE_PATH = f"{OWN_FOLDER}/hardware.json"
LOCK_PATH = f"{OWN_FOLDER}/requirements.lock"


class Role(StrEnum):
    """What a file is for; the order is the order of layers in a manifest."""

    CODE = "code"
    DOC = "doc"
    DATASET = "dataset"
    CONFIG = "weight.config"
    WEIGHT = "weight"


def layer_media_type(role: Role, form: str = "raw") -> str:
    """Return the media type of a layer: ``form`` is ``raw``, ``tar``, ``tar+gzip`` or ``tar+zstd``."""
    return f"application/vnd.cncf.model.{role}.v1.{form}"


_ROLES = {
    spelled: (role, form)
    for role in Role
    for form in ("raw", "tar", "tar+gzip", "tar+zstd")
    for spelled in (layer_media_type(role, form), layer_media_type(role, form).replace(".cncf.", ".cnai."))
}


def role_of(media_type: str) -> tuple[Role, str] | None:
    """Return role and form of a ModelPack layer's media type, or None for any other."""
    return _ROLES.get(media_type)
