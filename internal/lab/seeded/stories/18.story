# The leader of the control plane is killed, 5 s later its successor, and they stay dead for a while: there is no majority. An owner needs the
# control plane to change hands, never to remain one: nobody may notice.
estate one-unit
start
load rate 60 accounts 400 via a,b
wait load steady 30s
step "the leader is killed, and then its successor" drill switches u1 0 closed 4s
  fault kill process leader harmless
  pass 5s
  wait store led 20s
  fault kill process leader harmless
  pass 8s
  start process node-a,node-b,node-c
  wait store led 30s
  wait gap closed 20s
end
check
