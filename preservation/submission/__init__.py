"""What people hand over: folders, bags, archives; read with distrust, never followed outside."""
