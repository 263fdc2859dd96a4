# The unit is switched from a to b and back, so that the gateway of c, which hears neither a node nor another gateway, still knows b as its
# owner. Then somebody promotes the copy in b by hand, while its agent stands still. It has to be closed: the gateway of c waits for a newer
# table.
estate one-unit
start
switch u1 to b
wait u1 at b in-sync 40s
load rate 30 accounts 400 via a,c
wait load steady 30s
step "a copy is promoted by hand" drill switches u1 1
  fault kill process node-c
  fault cut c both ports node
  fault cut c both ports gateway
  switch u1 to a
  wait u1 at a in-sync 20s
  fault freeze agent of u1-b
  fault promote database u1-b
  pass 1s
  heal
  wait gap closed 20s
end
check
