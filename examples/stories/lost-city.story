# The city is lost while the remote copies lag, so something acknowledged is lost. Its receipts have reached the gateway of c: the estimate
# counts them, two people accept the loss, and the accounts that they touched take credits only until people release the units. The estimate
# is not exact: what was acknowledged in the last moment has no receipt there, and clients that got no answer ask again.
estate two-city
start
load rate 200 accounts 1000 via a,b,c
wait load steady 30s
step "the city is lost, and the remote copies lag" emergency loss no-survivor switches u1 1 switches u2 1
  fault cut c both ports postgres
  pass 3s
  fault kill site a,b
  recover at c as ann
  wait store led 30s
  switch u1 to c mode emergency as ann at c
  wait switch u1 accepting 10s
  accept u1 as ann at c because "both sites of the city are gone"
  accept u1 as ann at c refused "has accepted"
  accept u1 as bob at c because "confirmed by the duty manager"
  switch u2 to c mode emergency as ann at c
  wait switch u2 accepting 10s
  accept u2 as ann at c because "both sites of the city are gone"
  accept u2 as bob at c because "confirmed by the duty manager"
  wait u1 at c 20s
  wait u2 at c 20s
  verify u1 as ann at c
  verify u2 as ann at c
  pass 3s # the load meets accounts that are open and credit-only
  release u1 as ann at c because "the books were compared by hand"
  release u2 as ann at c because "the books were compared by hand"
  wait gap closed 20s
  pass 2s
end
check
