from .atlas import Atlas
from .loads import region_load
from .opening import atlas_names, load_atlas
