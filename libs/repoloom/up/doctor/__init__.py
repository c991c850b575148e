"""The doctor: looks at every part that can be seen from here, and says of what is wrong how to set it right."""
