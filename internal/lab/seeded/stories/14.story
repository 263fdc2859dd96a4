# Site b is cut off, and the owner at a goes on without the copy there. The node of b does not hear of that: by its store the copy is still in
# the in-sync set. Then a and c are lost, with them the majority, and people recover the control plane at b. What its store says about
# the set proves nothing: it takes two people who accept the loss.
estate one-unit
start
load rate 60 accounts 400 via a
wait load steady 30s
step "the store is recovered from a member that lagged" emergency loss no-survivor
  fault cut b both
  pass 5s
  fault kill site a,c
  heal b reset
  recover at b as ann
  wait store led 30s
  switch u1 to b mode emergency as ann at b
  wait switch u1 accepting 10s
  accept u1 as ann at b
  accept u1 as bob at b
  wait u1 at b 20s
  verify u1 as ann at b
  release u1 as ann at b
  wait gap closed 20s
  pass 1s
end
check
