"""Random programs: generators of legal and illegal ones, their judge, and what makes a failure small."""
