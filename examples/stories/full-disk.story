# The disk under the node that leads the control plane's store is full, then the disk under a copy. Needs root; is skipped by name without.
estate two-city
disk node-a 512MiB
disk node-b 512MiB
disk node-c 512MiB
disk u1-b 1GiB
start
load rate 200
wait load steady 30s
step "the disk of the store's leader is full" drill switches u1 0 switches u2 0
  fault fill disk leader harmless
  pass 10s
  heal disk leader
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
