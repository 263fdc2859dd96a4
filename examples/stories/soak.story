# Two hours of starvation, 200 ms pauses and packet loss without a real fault: 0 switches.
estate two-city
start
load rate 200
wait load steady 30s
step "soak" steady switches u1 0 switches u2 0
  fault starve 4 harmless
  fault loss a-b 0.5% stall 200ms harmless
  fault loss a-c 0.5% stall 200ms harmless
  fault loss b-c 0.5% stall 200ms harmless
  repeat for 2h
    fault freeze process agent-u1-a 200ms harmless
    pass 3s
    fault freeze process leader 200ms harmless
    pass 3s
    fault freeze database u1 200ms harmless
    pass 3s
    fault freeze database copy of u1 200ms harmless
    pass 3s
    fault freeze process gateway-b,corebank-a 200ms harmless
    pass 3s
  end
  heal
  wait estate ready 120s
end
check
