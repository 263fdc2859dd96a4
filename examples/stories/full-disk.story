# The disk under a node of the control plane is full, then the disk under a copy. Needs root; is skipped by name without.
estate two-city
disk node-a 512MiB
disk u1-b 1GiB
start
load rate 200
wait load steady 30s
step "the disk of node a is full" drill switches u1 0 switches u2 0
  fault fill disk node-a harmless
  pass 10s
  heal disk node-a
  wait store led 30s
end
step "the disk of u1's copy is full" drill
  fault fill disk u1-b
  pass 10s
  wait gap closed 10s
  heal disk u1-b
  wait u1 in-sync 120s
end
check
