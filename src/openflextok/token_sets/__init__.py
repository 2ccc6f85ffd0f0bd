"""Whole data sets as token ids: made shard by shard, read row by row."""
