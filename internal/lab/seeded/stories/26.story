# The owner dies with commits that its copy does not have, comes back, is rewound onto its successor and follows it. Then the successor dies: it
# is the returned member's turn.
estate one-unit
start
load rate 60 accounts 400 via a,b
wait load steady 30s
step "the owner dies ahead of its copy" failover switches u1 1 diverged 1
  fault kill process node-a
  fault cut a both ports node
  fault cut a-b ports postgres
  pass 700ms
  fault kill process agent-u1-a
  wait u1 at b 20s
  wait gap closed 20s
  heal
  start process node-a,agent-u1-a
  pass 45s until u1 in-sync
  pass 7s # until it may change hands again by itself
end
step "its successor dies" failover switches u1 1 closed 15s
  fault kill process agent-u1-b
  pass 20s until u1 at a
  pass 2s
  start process agent-u1-b
  wait gap closed 30s
end
check
