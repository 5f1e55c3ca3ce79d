"""Import of bibliographic records: readers, matching, jobs."""
