"""HTTP out of the house: lean requests with one deadline over everything and a bounded answer."""
