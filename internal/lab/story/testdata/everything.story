# Every word once.
within 5m
estate two-city
policy u1 pin c failover confirm min-in-sync 1 damping 10s
disk u1-a 512MiB
latency a-b 0.5ms
start
load rate 300 accounts 2000 hot 5% cross 20% via a,b,c once
wait load steady 20s
step "planned takeover of u1" takeover zh "u1 计划接管" units u1,u2 exact diverged 2 closed 5s switches u1 1 switches u2 0
  switch u1 --to b
  switch u1 to b mode switch-back as ann at c refused "is running"
  wait u1 at b in-sync 30s
  wait unit u1 open at b 30s
  wait unit u1 in-sync within 30s
  wait switch u1 done 1s
end
step "lost city" emergency loss resent 3 two-owners no-survivor
  fault cut a both
  fault cut a out
  fault cut a in ports postgres 5s
  fault cut a-b
  fault cut link a>b ports gateway
  fault freeze link a-b ports postgres 300ms
  fault freeze process gateway-a
  fault stop process gateway-a,node-b 200ms harmless
  fault freeze site a
  fault kill site a,b
  fault kill process leader
  fault kill database u2
  fault crash database copy of u1
  fault crash process agent-u1-a
  fault crash backend of u1
  fault freeze checkpointer of u1
  fault freeze startup of copy of u1 2s
  fault freeze agent of u1-b
  fault terminate backends of u1
  fault cancel backends of u1-a harmless
  fault promote database u1-b
  fault restart database u1
  fault clone database u1-b
  fault loss a-c 1% stall 400ms
  wait u1 unprotected 5s
  pass 5s until u1 in-sync
  pass 5s until gap closed of u1
  fault fill disk u1-a
  fault starve 4 harmless
  recover at c as ann
  switch u1 to c mode emergency as ann at c
  wait switch u1 accepting 5s
  accept u1 as ann because "the \"city\" is lost \\ gone" at c
  accept u1 as ann refused "has accepted"
  verify u1 as ann at c
  release u1 as ann at c because "all is well"
  wait quarantine u1 over 60s
  wait divergence u1 listed 60s
  resend u1
  orders hold 6 u1 as ann
  orders enter 4
  orders prove at b refused "no order"
  orders drop 2 as bob because "taken back"
  fetch u1 as head-office
  fetch u2 as head-office at c refused "no file"
  retry orders-u1 as ann because "they were entered"
  generate takeover site a to b as ann at c
  generate drill system corebank refused "a snapshot"
  run move-unit mode takeover set unit=u1 set to=b as ann at c because "window of today"
  run move-unit mode takeover set unit=u9 refused "no unit"
  window always revoked as bob because "the branches are late"
  window always approved as ann at c refused "another one"
  wait run asks agree 30s
  approve agree for commander as bob at c because "agreed"
  decline agree as ann refused "not who started"
  complete count set difference=0 as ann at c
  wait run at switch 30s
  cancel run as bob at c because "it is too late"
  cancel run refused "it is over"
  wait run cancelled 60s
  wait sandboxes gone 30s
  wait run over 60s
  evidence
  evidence at c
  wait member u1-a following 60s
  wait member u1-a in-sync 60s
  wait gap closed of u1 10s
  wait gap closed 10s
  wait store led 10s
  wait estate ready 60s
  heal a reset
  heal a-b
  heal site a
  heal process gateway-a
  heal database u1
  heal disk u1-a
  heal starve
  heal
  start site a
  start process node-a
end
load stop
repeat 3
  repeat for 1m
    pass 1.5s
  end
end
say "that was all" # with a comment
check
