# The link to the copy stands still for a while, again and again. The owner is well: nobody may take over from it.
estate one-unit
start
load rate 60 accounts 400 via b
wait load steady 30s
step "the copy is slow" failover switches u1 0
  fault cut a-b ports postgres 10s harmless
  pass 10s
  wait u1 in-sync 60s
  wait gap closed 20s
end
check
