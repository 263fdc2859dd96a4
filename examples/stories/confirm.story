# A unit whose policy says that a person confirms: its site dies, nobody takes over by itself, and one command of one person is enough, because
# the copy has everything that was acknowledged.
estate two-city
policy u1 failover confirm
start
load rate 200 accounts 1000 via a,b,c
wait load steady 30s
step "site a dies, and a person decides" failover no-survivor switches u1 1 switches u2 0
  fault kill site a
  pass 6s
  switch u1 to b mode emergency as ann # refused if somebody had taken over
  wait u1 at b 10s
  wait gap closed of u1 10s
  start site a
  wait u1 in-sync 90s
  wait u2 in-sync 90s
end
check
