# The control plane loses its leader every 5 s, then all its members: no error, no switch.
estate two-city
start
load rate 300
wait load steady 30s
step "the leader dies again and again" drill switches u1 0 switches u2 0
  repeat 5
    fault crash process leader harmless
    pass 5s
    wait store led 20s
  end
end
step "the control plane is down" drill switches u1 0 switches u2 0
  fault kill process node-a,node-b,node-c harmless
  pass 10s
  start process node-a,node-b,node-c
  wait store led 30s
  wait estate ready 60s
end
check
