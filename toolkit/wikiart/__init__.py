"""WikiArt as it is handed around: Parquet files, folders, lists of classes; and its splits."""
