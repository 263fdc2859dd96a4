# The copy was away and comes back while the owner's checkpointer stands still: the configuration names the copy, and commits do not
# wait for it. It must not count as in sync: the link to it is cut and the owner dies.
estate one-unit
start
load rate 60 accounts 400 via b
wait load steady 30s
step "the set is grown while the checkpointer stands still" failover
  fault kill process agent-u1-b
  wait u1 unprotected 20s
  wait gap closed 20s
  fault freeze checkpointer of u1
  start process agent-u1-b
  pass 10s until u1 in-sync
  fault cut a-b ports postgres
  pass 1s
  fault kill database u1
  wait gap closed 20s
end
check
