"""Notices: what people are told about their loans, holds and fees, once for each cause."""
