"""The declarative config file: read strictly, applied in one transaction, exported again."""
