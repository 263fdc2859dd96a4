# Two copies are in the set, the first of them in another city. The link to the second is cut, so it lacks what was written since. It must
# have been waited for, or taken out of the set, before anybody was told of that.
estate two-city
policy u1 pin c
start
load rate 60 accounts 400 via b
wait load steady 30s
step "one of two copies is cut off" failover units u1
  fault kill process agent-u1-b
  pass 5s
  start process agent-u1-b
  wait member u1-b in-sync 60s
  fault cut a-b ports postgres
  pass 3s
  fault kill database u1
  pass 10s until gap closed of u1
end
check
