# The copy is cut off, so every COMMIT waits. Somebody cancels what waits: PostgreSQL answers COMMIT, with a warning. The owner dies.
estate one-unit
start
load rate 20 accounts 400 via b
wait load steady 30s
step "the wait of a COMMIT is cancelled" failover switches u1 1
  fault kill process node-a
  fault cut a both ports node
  fault cut a-b ports postgres
  pass 500ms
  fault cancel backends of u1
  pass 700ms
  fault kill database u1
  wait u1 at b 20s
  wait gap closed 20s
end
check
