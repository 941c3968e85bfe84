-- A list of order numbers from a support ticket, pasted into the wrong window.
delete from orders where number between 5100 and 5119 or number in (5500, 5501, 5650);
