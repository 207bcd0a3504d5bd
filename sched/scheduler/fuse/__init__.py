"""What stays on the chip between layers: where tensors may stay, the best choice, and the launches that come of it.

A `Form` is the network with its operations; `Addresses` are found for choices of these; `LaunchWriter` writes programs
of both; `Decider` chooses for a form, and `Forms` compares forms.
"""
