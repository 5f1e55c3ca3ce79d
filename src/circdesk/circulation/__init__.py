"""The desk: loans, returns, renewals, holds, fees, and the one engine that decides about them."""
