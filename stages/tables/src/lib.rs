//! Parquet tables through polars.
