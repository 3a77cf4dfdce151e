"""Questions to the Parquet files of many synledger sensors."""

__version__ = "0.1.0"
