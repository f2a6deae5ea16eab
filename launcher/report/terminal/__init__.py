"""How reports stand on a terminal, however wide it is: sentences, and tables that fit."""
