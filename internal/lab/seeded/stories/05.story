# One session of the owner's server dies, so the server begins anew by itself. It has to be closed until it is opened at a new epoch.
estate one-unit
start
load rate 30 accounts 400 via b
wait load steady 30s
step "a session of the owner dies" failover
  fault crash backend of u1
  pass 3s
  wait gap closed 20s
end
check
