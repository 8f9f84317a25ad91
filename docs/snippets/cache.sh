export FIELDGUIDE_CACHE="$PWD/fieldguide-cache"
export FIELDGUIDE_CACHE_GB=50
fieldguide train dataset/
