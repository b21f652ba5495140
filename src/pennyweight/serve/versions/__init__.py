"""Which version answers: what may be registered, loaded and proved, what is on trial, and how a switch is made."""
