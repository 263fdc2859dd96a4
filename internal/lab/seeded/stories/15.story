# Site b is cut off, and people there recover the control plane and accept the loss: two owners, by decision. The one at a is restarted
# meanwhile, over and over, so its epoch is the higher one. When the sides meet again the older incarnation has to close, whatever its epoch.
estate one-unit
start
load rate 60 accounts 400 via a,b
wait load steady 30s
step "an older incarnation has a higher epoch" emergency loss two-owners
  fault cut a-b
  fault cut b-c
  wait u1 unprotected 20s
  fault kill database u1-a
  wait gap closed 20s
  fault kill database u1-a
  wait gap closed 20s
  fault kill database u1-a
  wait gap closed 20s
  recover at b as ann
  wait store led 30s
  switch u1 to b mode emergency as ann at b
  wait switch u1 accepting 10s
  accept u1 as ann at b
  accept u1 as bob at b
  wait u1 at b 20s
  verify u1 as ann at b
  release u1 as ann at b
  pass 2s
  heal a-b
  heal b-c
  pass 12s
end
check
