"""Other backtesters, each a program in an environment of its own: none of their code is ours."""
