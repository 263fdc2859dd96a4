# The owner's server dies while its agent stands still, and somebody starts it again by hand. It has to be closed until its agent has
# opened it at a new epoch.
estate one-unit
start
load rate 30 accounts 400 via b
wait load steady 30s
step "the owner is started by hand" failover
  fault freeze agent of u1
  fault restart database u1
  pass 3s
  heal
  wait gap closed 20s
end
check
