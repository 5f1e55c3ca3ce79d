"""What happened in the library, as rows that are written with what they tell of."""
