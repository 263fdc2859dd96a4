# What site a sends is lost, what is sent to it arrives; then the other way round. The owner is not failed over for what only its copy suffers.
estate two-city
start
load rate 300
wait load steady 30s
step "a is heard by nobody" failover
  fault cut a out
  wait u1 at b 20s
  wait gap closed of u1 10s
  heal a
  wait u1 in-sync 90s
  wait u2 in-sync 90s
  wait gap closed 10s
end
step "a hears nobody" failover
  fault cut b>a
  pass 10s
  heal b>a
  wait u1 in-sync 90s
  wait u2 in-sync 90s
  wait gap closed 10s
end
check
