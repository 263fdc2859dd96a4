# Somebody has copied the directory of the copy at b, and the clone streams beside the owner under its name. The link to the real one is cut,
# so it is taken out of the set; what the clone acknowledges must not bring it back in.
estate two-city
start
load rate 60 accounts 400 via b
wait load steady 30s
step "a clone acknowledges in a copy's name" failover units u1
  fault clone database u1-b
  wait u1 in-sync 60s # the copy stood still while it was copied
  fault cut a-b ports postgres
  wait u1 unprotected 20s
  pass 30s until u1 in-sync
  pass 2s
  fault kill database u1
  pass 10s until gap closed of u1
end
check
