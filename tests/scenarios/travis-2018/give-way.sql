-- Who will sign up again gives up the address; the rows stay for now.
update shoppers set login = 'old ' || login where id % 20 = 3;
