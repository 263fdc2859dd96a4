# The in-sync copy is cut off, so that COMMITs wait, and their owner dies with them. Then the copy goes on as the owner, and executes anew
# what its clients ask for again. The remote copy must not have what nobody was told of: the city is lost too, and people let it take over.
estate two-city
start
load rate 60 accounts 400 via c
wait load steady 30s
step "the owner dies before its copy has the newest" failover no-survivor
  fault kill process node-a
  fault cut a both ports node
  fault cut a-b ports postgres
  pass 700ms
  fault kill site a
  wait u1 at b 20s
  wait gap closed 20s
  pass 3s
end
step "the city is lost" emergency loss no-survivor
  fault kill site b
  recover at c as ann
  wait store led 30s
  switch u1 to c mode emergency as ann at c
  wait switch u1 accepting 10s
  accept u1 as ann at c
  accept u1 as bob at c
  switch u2 to c mode emergency as ann at c
  wait switch u2 accepting 10s
  accept u2 as ann at c
  accept u2 as bob at c
  wait u1 at c 20s
  wait u2 at c 20s
  verify u1 as ann at c
  verify u2 as ann at c
  release u1 as ann at c
  release u2 as ann at c
  wait gap closed 20s
  pass 2s
end
check
