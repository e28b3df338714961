"""The vault: touches data, decides nothing. Every right it honours is a ticket or manifest that control signed."""
