# Site b is cut off from a and c. People at b believe them lost, recover the control plane there and accept the loss: from then on two owners
# acknowledge, by decision (I11). When the sides meet again the older one closes, what it acknowledged meanwhile is listed, and its
# directory is rewound. Then people bring in what is listed, each request with its own key: none of it is missing any more, none is there twice.
estate one-unit
start
load rate 100 accounts 1000 via a,b
wait load steady 30s
step "people take over from an owner that lives" emergency loss resent 100 two-owners switches u1 1
  fault cut a-b
  fault cut b-c
  wait u1 unprotected 20s
  recover at b as ann
  wait store led 30s
  switch u1 to b mode emergency as ann at b
  wait switch u1 accepting 10s
  accept u1 as ann at b because "nobody at a or c answers"
  accept u1 as bob at b
  wait u1 at b 20s
  verify u1 as ann at b
  release u1 as ann at b
  pass 5s # both acknowledge
  heal a-b
  heal b-c
  wait divergence u1 listed 60s
  wait u1 in-sync 90s
  resend u1
  wait gap closed 10s
end
check
