"""What the rest of the project may know of the hardware: instructions, parameters, registers."""
