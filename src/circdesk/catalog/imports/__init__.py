"""Import of bibliographic records, in three rooms: `jobs` knows `writing`, both know `reading`.

Their tables stand in `models`.
"""
